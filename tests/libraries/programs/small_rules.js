import mitt from "mitt";
import EventEmitter from "eventemitter3";
import jsonpatch from "fast-json-patch";
import jsonLogic from "json-logic-js";
import { Parser } from "expr-eval";

export default async function program() {
  const seen = [], bus = mitt(), emitter = new EventEmitter();
  bus.on("a", (x) => seen.push(x)); bus.emit("a", 1); emitter.once("b", (x) => seen.push(x)); emitter.emit("b", 2); emitter.emit("b", 3);
  return [seen, jsonpatch.applyPatch({ a: 1 }, [{ op: "add", path: "/b", value: 2 }]).newDocument, jsonpatch.compare({ a: 1 }, { a: 2 }), jsonLogic.apply({ if: [{ ">": [{ var: "n" }, 5] }, "big", "small"] }, { n: 9 }), Parser.evaluate("2 ^ x + max(1, 5)", { x: 3 })];
}
