import { graphql, buildSchema, parse, print } from "graphql";

export default async function program() {
  const schema = buildSchema("type Query { hello(name: String!): String, list: [Int] }");
  const answer = await graphql({ schema, source: '{ hello(name: "x") list nope }', rootValue: {} });
  const right = await graphql({ schema, source: '{ hello(name: "x") list }', rootValue: { hello: ({ name }) => "hi " + name, list: [1, 2] } });
  return [answer.errors.map((e) => e.message), right.data, print(parse("{a{b}}"))];
}
