import debounce from "lodash/debounce.js";
import delay from "lodash/delay.js";

export default async function program() {
  const seen = [];
  const said = debounce((x) => seen.push(x), 5);
  said(1); said(2); said(3);
  await new Promise((done) => delay(done, 30));
  return seen;
}
