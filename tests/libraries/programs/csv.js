import Papa from "papaparse";
import { parse } from "csv-parse/browser/esm/sync";

export default async function program() {
  return [Papa.parse("a,b\n1,\"x,y\"\n", { header: true, skipEmptyLines: true }).data, Papa.unparse([{ a: 1, b: "x,y" }]), parse("a;b\n1;2", { columns: true, delimiter: ";" })];
}
