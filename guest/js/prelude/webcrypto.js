// crypto: random values from the run's seed, and digests. Keys are refused: they would lie in every checkpoint.
(cloche) => {
  "use strict";

  const { getRandomValues, randomUUID, digestOf } = cloche;
  const { define, tag, hide, bytesOf, getterOf } = cloche.own;
  const { freeze } = Object;
  const [StringOf, TypeErrorOf, Thrown] = [String, TypeError, DOMException];
  const toUpperCase = cloche.own.unbound(String.prototype.toUpperCase);
  const bufferOf = getterOf(Object.getPrototypeOf(Uint8Array.prototype), "buffer");
  const BITS = { __proto__: null, "SHA-1": 160, "SHA-256": 256, "SHA-384": 384, "SHA-512": 512 };
  const WITH_KEYS = [
    "encrypt", "decrypt", "sign", "verify", "generateKey", "deriveKey", "deriveBits", "importKey", "exportKey", "wrapKey", "unwrapKey",
  ];

  const methods = {
    async digest(algorithm, data) {
      const name = typeof algorithm === "object" && algorithm !== null ? algorithm.name : algorithm;
      const bits = BITS[toUpperCase(StringOf(name))];
      if (bits === undefined) throw new Thrown("crypto.subtle.digest has no " + StringOf(name) + ": it has SHA-1, SHA-256, SHA-384 and SHA-512", "NotSupportedError");
      if (data === undefined) throw new TypeErrorOf("digest takes an ArrayBuffer or a view of one");
      return bufferOf(digestOf(bytesOf(data, "digest"), bits));
    },
  };
  const subtle = {};
  hide(subtle, "digest", methods.digest);
  for (const name of WITH_KEYS) {
    const refused = {
      async [name]() {
        throw new Thrown("crypto.subtle." + name + " is not there under glass, where a key would lie in every checkpoint: do it in a step", "NotSupportedError");
      },
    };
    hide(subtle, name, refused[name]);
  }
  tag(subtle, "SubtleCrypto");
  define("crypto", freeze({ getRandomValues, randomUUID, subtle: freeze(subtle) }));
}
