import { Liquid } from "liquidjs";

export default async function program() {
  return [await new Liquid().parseAndRender("{% for x in l %}{{ x | times: 2 }},{% endfor %}{{ 'a b' | capitalize }}", { l: [1, 2] })];
}
