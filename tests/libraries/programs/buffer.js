import { Buffer } from "buffer/";

export default async function program() {
  const b = Buffer.from("héllo");
  return [b.toString("hex"), b.toString("base64"), Buffer.concat([b, Buffer.from([1, 2])]).length, b.readUInt16BE(0), Buffer.from("ff00", "hex").toJSON()];
}
