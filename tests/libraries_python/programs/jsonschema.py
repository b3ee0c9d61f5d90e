import jsonschema

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1}, "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}}},
    "required": ["n"],
    "$defs": {"tag": {"type": "string", "pattern": "^[a-z]+$"}},
}


def program():
    validator = jsonschema.Draft202012Validator(SCHEMA)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    errors = sorted(validator.iter_errors({"n": 0, "tags": ["a", "B"]}), key=str)
    return [[one.message, list(one.absolute_path)] for one in errors] + [validator.is_valid({"n": 1})]
