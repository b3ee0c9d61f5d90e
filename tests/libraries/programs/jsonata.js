import jsonata from "jsonata";

export default async function program() {
  return [await jsonata("$sum(rows.price) & ' ' & $join(rows[price > 1].name, ',')").evaluate({ rows: [{ name: "a", price: 1 }, { name: "b", price: 5 }] })];
}
