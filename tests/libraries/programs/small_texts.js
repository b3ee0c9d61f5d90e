import slugify from "slugify";
import ms from "ms";
import semver from "semver";
import { sprintf } from "sprintf-js";
import qs from "qs";

export default async function program() {
  return [slugify("Hello Wörld & co"), ms("2 days"), ms(60000), semver.satisfies("1.2.3", "^1.0.0"), semver.inc("1.2.3", "minor"), sprintf("%05.2f|%-5s|%x", 3.14159, "a", 255), qs.parse("a[b]=1&c[]=2&c[]=3"), qs.stringify({ a: { b: [1, 2] } })];
}
