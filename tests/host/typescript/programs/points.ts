// An instance crosses as its class says; a step in Python gets the data.
import { WORKFLOW_DESERIALIZE, WORKFLOW_SERIALIZE } from "@workflow/serde";

export class Point {
  constructor(public x: number, public y: number) {}
  static [WORKFLOW_SERIALIZE](point: Point) {
    return { x: point.x, y: point.y };
  }
  static [WORKFLOW_DESERIALIZE](data: { x: number; y: number }) {
    return new Point(data.x, data.y);
  }
  get sum() {
    return this.x + this.y;
  }
}

export async function points(x: number, y: number) {
  "use workflow";
  const point = new Point(x, y);
  const back = Point[WORKFLOW_DESERIALIZE](await moved(point, 10));
  return { isPoint: back instanceof Point, sum: back.sum };
}

async function moved(point: Point, by: number): Promise<{ x: number; y: number }> {
  "use step";
  return { x: point.x + by, y: point.y };
}
