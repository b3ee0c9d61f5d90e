import { strToU8, strFromU8, deflateSync, inflateSync } from "fflate";

export default async function program() {
  return [strFromU8(inflateSync(deflateSync(strToU8("häm €")))), [...strToU8("€")]];
}
