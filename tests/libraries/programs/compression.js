import { gzipSync, gunzipSync, zipSync } from "fflate";
import * as pako from "pako";

export default async function program() {
  const data = new Uint8Array(5000).map((_, i) => i % 7);
  return [gunzipSync(gzipSync(data, { mtime: 0 })).length, pako.inflate(pako.deflate(data)).length, pako.deflate(data).length, zipSync({ "a.txt": data }, { mtime: "2020-01-01" }).length > 100];
}
