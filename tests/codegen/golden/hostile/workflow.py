"""Ids, texts and descriptions that try to leave their place."""

from codegen.steps_for_tests import free

from cloche_codegen import code, create_workflow, path

end = "*" + chr(47)
workflow = (
    create_workflow(id='map"); evil("', description=f"{end} evil()\nnext line\u2028and another\u202e")
    .then(free("__proto__"), description="// ```` ${x} */\r\nevil()")
    .then(free("constructor"))
    .then(free("a.b"))
    .then(free("quote'\"`${1}\\"))
    .map(
        {
            "__proto__": {"value": {"__proto__": "\u2028\u2029</script>"}},
            "a-b": {"template": '\\` ${stepResults.a.b.__proto__} " \u2028'},
            "dots": path("stepResults.a.b.c"),
            "code": code("`*/ ${'}'} \\`` /* ) */ // ("),
        }
    )
    .branch([(path("stepResults.__proto__.x") == "\u2028\n", free("await"))])
    .commit()
)
