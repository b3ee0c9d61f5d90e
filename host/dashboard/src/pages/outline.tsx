/** The graph of a workflow before any run. It is read from the graph as the API has it: nodes within nodes. */

import type { ComponentChildren, JSX } from "preact";
import type { Json } from "../api/models";

interface Props {
  workflow: string;
  version: string | null;
  graph: { [name: string]: Json } | null;
}

type Node = { [name: string]: Json };
const nodesIn = (value: Json | undefined): Node[] => (Array.isArray(value) ? value.filter((one): one is Node => typeof one === "object" && one !== null && !Array.isArray(one)) : []);

export function GraphOutline({ graph }: Props): JSX.Element {
  if (graph === null) return <p class="pad dim">It is written as a program: what it does is seen in its source, and in its runs.</p>;
  return <Nodes of={nodesIn(graph.nodes ?? graph.steps ?? graph.graph)} />;
}

function Nodes({ of }: { of: readonly Node[] }): JSX.Element {
  return (
    <ol class="outline">
      {of.map((node, index) => (
        <Entry node={node} key={index} />
      ))}
    </ol>
  );
}

function Entry({ node }: { node: Node }): JSX.Element {
  const kind = String(node.type ?? node.kind ?? "step");
  const inner: ComponentChildren[] = [];
  for (const [name, value] of Object.entries(node)) {
    const nodes = nodesIn(value).filter((one) => "type" in one || "kind" in one);
    if (nodes.length) inner.push(<Nodes key={name} of={nodes} />);
    else if (typeof value === "object" && value !== null && !Array.isArray(value) && "type" in value && name !== "schema") inner.push(<Nodes key={name} of={[value]} />);
  }
  return (
    <li class={`node ${kind}`}>
      <span class="mono">{String(node.id ?? node.step ?? kind)}</span> <span class="faint">{kind}</span>
      {inner}
    </li>
  );
}
