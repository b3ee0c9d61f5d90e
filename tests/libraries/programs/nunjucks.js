import nunjucks from "nunjucks/browser/nunjucks.js";

export default async function program() {
  return [nunjucks.renderString("{% for x in l %}{{ loop.index }}:{{ x | upper }} {% endfor %}{{ 1 if a else 2 }}", { l: ["a", "b"] })];
}
