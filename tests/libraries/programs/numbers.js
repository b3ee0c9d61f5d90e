import BigNumber from "bignumber.js";
import Decimal from "decimal.js";
import Big from "big.js";

export default async function program() {
  return [new BigNumber("0.1").plus("0.2"), { price: new Decimal("1.10").times(3) }, new Big("1").div(3), new BigNumber("123.456").toFormat(2)];
}
