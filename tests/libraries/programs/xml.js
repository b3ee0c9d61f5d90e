import { XMLParser, XMLBuilder } from "fast-xml-parser";

export default async function program() {
  return [new XMLParser({ ignoreAttributes: false }).parse("<a x=\"1\"><b>2</b><b>t</b></a>"), new XMLBuilder().build({ a: { b: [1, 2] } })];
}
