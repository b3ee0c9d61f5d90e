/** The pages, and which of them a place is. */

import type { JSX } from "preact";
import { RunPage } from "../run/page";
import { Runs } from "./runs";
import { Schedules } from "./schedules";
import { Usage } from "./usage";
import { Workers } from "./workers";
import { WorkflowPage } from "./workflow";
import { Workflows } from "./workflows";

export interface Page {
  name: string;
  title: string;
  /** The key that opens it. */
  key: string;
}

export const PAGES: readonly Page[] = [
  { name: "runs", title: "Runs", key: "1" },
  { name: "workflows", title: "Workflows", key: "2" },
  { name: "schedules", title: "Schedules", key: "3" },
  { name: "workers", title: "Workers", key: "4" },
  { name: "usage", title: "Usage", key: "5" },
];

export function pageOf([name = "runs", id]: string[]): { page: JSX.Element; name: string } {
  if (name === "runs" && id !== undefined) return { page: <RunPage id={id} key={id} />, name };
  if (name === "runs") return { page: <Runs />, name };
  if (name === "workflows" && id !== undefined) return { page: <WorkflowPage id={id} key={id} />, name };
  if (name === "workflows") return { page: <Workflows />, name };
  if (name === "schedules") return { page: <Schedules id={id} />, name };
  if (name === "workers") return { page: <Workers />, name };
  if (name === "usage") return { page: <Usage />, name };
  return { page: <NotHere />, name };
}

function NotHere(): JSX.Element {
  return (
    <main class="page">
      <h1>There is no such page.</h1>
    </main>
  );
}
