import Handlebars from "handlebars";

export default async function program() {
  return [Handlebars.compile("{{#each list}}{{@index}}:{{this.n}} {{/each}}{{#if no}}x{{else}}y{{/if}}{{{raw}}}")({ list: [{ n: 1 }, { n: 2 }], raw: "<b>" })];
}
