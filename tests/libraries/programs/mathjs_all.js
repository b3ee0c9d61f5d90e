import * as math from "mathjs";

export default async function program() {
  return [math.evaluate("sqrt(16) + sin(0)"), math.fraction(1, 3).toString(), math.unit("5 cm").toString(), math.derivative("x^2", "x").toString()];
}
