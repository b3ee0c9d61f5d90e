import "./order";
import { render } from "preact";
import { App } from "./app";
import { begin } from "./session";
import "./theme";

void begin(); // while the page is drawn for the first time
render(<App />, document.getElementById("app")!);
