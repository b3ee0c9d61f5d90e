import Mustache from "mustache";
import ejs from "ejs";

export default async function program() {
  return [Mustache.render("{{#l}}{{.}},{{/l}} {{&r}} {{r}}", { l: [1, 2], r: "<" }), ejs.render("<% for (const x of l) { %><%= x %>;<% } %>", { l: [1, "<"] })];
}
