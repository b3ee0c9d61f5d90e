import { marked } from "marked";

export default async function program() {
  return [marked.parse("# Hi\n\n* a\n* **b** `c`\n\n| x | y |\n|--|--|\n| 1 | 2 |\n\n[l](http://a/b)")];
}
