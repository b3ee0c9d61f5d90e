import * as cheerio from "cheerio/slim";

export default async function program() {
  const $ = cheerio.load("<ul><li class=a>1</li><li>2</li></ul>");
  return [$("li").map((i, e) => $(e).text()).get(), $("li.a").attr("class"), $.html()];
}
