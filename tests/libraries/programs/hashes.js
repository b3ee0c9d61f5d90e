import CryptoJS from "crypto-js";
import { sha256 } from "@noble/hashes/sha2.js";
import { hmac } from "@noble/hashes/hmac.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";

export default async function program() {
  return [CryptoJS.SHA256("hello").toString(), CryptoJS.AES.decrypt(CryptoJS.AES.encrypt("secret", "key").toString(), "key").toString(CryptoJS.enc.Utf8), bytesToHex(sha256(new Uint8Array([1, 2]))), bytesToHex(hmac(sha256, utf8ToBytes("k"), utf8ToBytes("häm")))];
}
