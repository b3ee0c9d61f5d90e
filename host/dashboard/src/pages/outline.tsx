/** The graph of a workflow before any run, as an outline: what stands in a box of the graph stands below its line here. */

import type { JSX } from "preact";
import type { Json } from "../api/models";
import { Text } from "../ui/basic";

type Node = { [name: string]: Json };
const isNode = (value: Json | undefined): value is Node => typeof value === "object" && value !== null && !Array.isArray(value);

export function GraphOutline({ graph }: { graph: Node | null }): JSX.Element {
  if (graph === null) return <p class="pad dim">It is written as a program: what it does is seen in its source, and in its runs.</p>;
  return <Nodes of={nodesOf(graph.nodes)} />;
}

interface Inner {
  node: Node;
  /** Under which condition it is taken. */
  when: string;
}

const nodesOf = (value: Json | undefined): Inner[] => (Array.isArray(value) ? value : []).filter(isNode).map(armOf);

/** An arm is a node, or a condition with its body. */
function armOf(one: Node): Inner {
  return isNode(one.body) && one.type === undefined ? { node: one.body, when: told(one.condition) } : { node: one, when: "" };
}

function innerOf(node: Node): Inner[] {
  const body = isNode(node.body) ? [armOf(node.body)] : nodesOf(node.body);
  const nested = isNode(node.workflow) ? nodesOf(node.workflow.nodes) : [];
  return [...nodesOf(node.arms), ...body, ...nodesOf(node.nodes), ...nested];
}

const SIGNS: Record<string, string> = { eq: "=", ne: "≠", lt: "<", le: "≤", lte: "≤", gt: ">", ge: "≥", gte: "≥" };

/** A condition in short: `inputData.0.shelf ≠ ""`, its code, or nothing. */
function told(condition: Json | undefined): string {
  if (!isNode(condition)) return "";
  if (typeof condition.code === "string") return condition.code;
  if (!isNode(condition.predicate)) return String(condition.type ?? "");
  const [name = "", sides] = Object.entries(condition.predicate)[0] ?? [];
  if (isNode(sides) && isNode(sides.left) && isNode(sides.right)) return `${side(sides.left)} ${SIGNS[name] ?? name} ${side(sides.right)}`;
  return name;
}

const side = (of: Node): string => ("path" in of ? String(of.path) : JSON.stringify(of.literal ?? null));

function aboutOf(node: Node): string {
  const kind = String(node.type ?? "");
  if (kind === "foreach") return `for each, ${node.concurrency ?? 1} at once`;
  if (kind === "parallel") return "side by side";
  if (kind === "step" && node.step !== node.id) return `step ${node.step}`;
  return kind.replaceAll("_", " ");
}

function Nodes({ of }: { of: readonly Inner[] }): JSX.Element {
  return (
    <ol class="outline">
      {of.map(({ node, when }, index) => {
        const inner = innerOf(node);
        return (
          <li key={index}>
            <Text class={`mono ${node.type === "step" ? "strong" : ""}`} of={String(node.id ?? node.step ?? node.type)} /> <span class="faint">{aboutOf(node)}</span>
            {when && (
              <div class="faint when">
                if <Text class="mono" of={when} />
              </div>
            )}
            {inner.length > 0 && <Nodes of={inner} />}
          </li>
        );
      })}
    </ol>
  );
}
