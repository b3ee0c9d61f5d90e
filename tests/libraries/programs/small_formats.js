import numeral from "numeral";
import i18next from "i18next";

export default async function program() {
  await i18next.init({ lng: "en", resources: { en: { translation: { hi: "Hi {{name}}", item_one: "{{count}} item", item_other: "{{count}} items" } } } });
  return [numeral(1234567.891).format("0,0.00"), numeral(0.5).format("0%"), i18next.t("hi", { name: "Ada" }), i18next.t("item", { count: 1 }), i18next.t("item", { count: 5 })];
}
