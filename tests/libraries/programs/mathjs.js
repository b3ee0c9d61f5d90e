import { create, evaluateDependencies, sqrtDependencies, matrixDependencies, detDependencies, addDependencies } from "mathjs";

export default async function program() {
  const math = create({ evaluateDependencies, sqrtDependencies, matrixDependencies, detDependencies, addDependencies });
  return [math.evaluate("2 * (3 + 4)"), math.sqrt(-4).toString(), math.det([[1, 2], [3, 4]])];
}
