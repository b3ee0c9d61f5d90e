"""QuickJS-NG's source as it is compiled: that of the archive which the pin names, with stack weights and tables of names."""

from __future__ import annotations

import re
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from cloche_guest.abi import BuildFailed
from cloche_guest.tools import Progress, key, pip, place, reported

ENGINE_FILES: Final = ("quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c")

# What quickjs.c is given so that it asks the tables of `engine/names.c`: a pattern, how often it is there, and what is put in
# its place. (QuickJS looks for each name from the first on: a module of 8,000 names took 6.7 × 10⁹ units of fuel to load.)
# And so that functions of the prelude show no source, as those of an engine do; and so that an error that was made where no
# code of the workflow ran, as what a step failed with is, has its stack from where the workflow first meets it; and `this` has
# a place of its own, without which `return this.a.b` has that of the line's beginning.
_TYPE = "typedef struct JSNameTable { uint32_t *slots; uint32_t size, count; } JSNameTable;"
_FREED = "js_free(ctx, fd->closure_names.slots); js_free(ctx, fd->global_names.slots);"
_FIND_CLOSURE = "if (s->closure_var_count > NAMES_FEW) return find_closure_name(s, var_name);"
_FIND_GLOBAL = """if (fd->global_var_count > NAMES_FEW) {
        int place = find_global_name(fd, name);
        return place < 0 ? NULL : &fd->global_vars[place];
    }"""
_GET_CLOSURE = """if (s->closure_var_count > NAMES_FEW) {
        i = find_closure_name(s, var_name);
        if (i < 0)
            return add_closure_var(ctx, s, closure_type, var_idx, var_name, is_const, is_lexical, var_kind);
        if (s->closure_var[i].var_idx == var_idx && s->closure_var[i].closure_type == closure_type)
            return i;
    }"""
_SOURCE = "if (js_drops_sources) js_free(ctx, b->source), b->source = NULL, b->source_len = 0;"
_IS_OF_WORKFLOW = """static bool is_of_workflow(const DynBuf *text)
{
    static const char file[] = "workflow.js:";
    for (size_t at = 0, size = sizeof file - 1; at + size <= text->size; at++)
        if (!memcmp(text->buf + at, file, size))
            return true;
    return false;
}"""
_LATER = """if (!filename && !is_of_workflow(&dbuf)) {
            dbuf_free(&dbuf);
            JS_FreeValue(ctx, error_obj);
            rt->in_build_stack_trace = false;
            return;
        }"""
EDITS: Final = (
    (r"static void build_backtrace\(JSContext \*ctx, [^;]*?\n\{\n", 1, rf"{_IS_OF_WORKFLOW}\n\n\g<0>"),
    (r"(?<=    \} else \{\n)(?=        if \(dbuf_error\(&dbuf\)\)\n            stack = JS_NULL;)", 1, f"        {_LATER}\n"),
    (r"    case TOK_THIS:\n(?=        if \(next_token\(s\)\)\n)", 1, r"\g<0>        emit_source_loc(s);\n"),
    (r"typedef struct JSFunctionDef \{\n", 1, rf"{_TYPE}\n\g<0>"),
    (r"    JSClosureVar \*closure_var;\n(?=\n    JumpSlot)", 1, r"\g<0>    JSNameTable closure_names, global_names;\n"),
    (r"    b->source_len = fd->source_len;\n", 1, rf"\g<0>    {_SOURCE}\n"),
    (r"js_free\(ctx, fd->vars_htab\);", 2, rf"\g<0> {_FREED}"),
    (r"static JSGlobalVar \*find_global_var\([^)]*\)\n\{\n", 1, rf"@names@\n\g<0>    {_FIND_GLOBAL}\n"),
    (r"static int find_closure_var\([^)]*\)\n\{\n", 1, rf"\g<0>    {_FIND_CLOSURE}\n"),
    (r"        if \(closure_type != JS_CLOSURE_GLOBAL_REF\)\n            closure_type = JS_CLOSURE_REF;\n    \}\n", 1,
     rf"\g<0>    {_GET_CLOSURE}\n"),
    (r"for \(idx1 = 0; (?=idx1 < fd->closure_var_count)", 1, "for (idx1 = first_closure_var(fd, var_name); "),
    (r"for\(idx = 0; (?=idx < s->closure_var_count; idx\+\+\) \{\n.*\n\s+if \(cv->var_name == hf->var_name\))", 2,
     "for(idx = first_closure_var(s, hf->var_name); "),
)  # fmt: skip


def engine_sources(pin: Path, weights: Path, names: Path, cache: Path, progress: Progress) -> Path:
    """The folder with QuickJS-NG's C files, unpacked, weighted and edited."""
    made_of = [pin.read_bytes(), weights.read_bytes(), names.read_bytes(), Path(__file__).read_bytes()]
    folder = cache / f"quickjs-{key(*made_of)[:16]}"
    if folder.exists():
        return folder
    with reported(progress, "download QuickJS-NG"), tempfile.TemporaryDirectory(dir=cache) as work:
        pip(["download", "--no-binary", "quickjs-ng", "-d", work], pin, Path(work))
        unpacked = Path(work) / "unpacked"
        _unpack(next(Path(work).glob("*.tar.gz")), unpacked)
        _weight(unpacked, weights)
        _edit(unpacked / "quickjs.c", names)
        place(unpacked, folder)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            path = Path(member.name)
            if member.isfile() and path.parent.name == "upstream-quickjs" and path.suffix in (".c", ".h"):
                content = tar.extractfile(member)
                assert content is not None
                (folder / path.name).write_bytes(content.read())
    if missing := [name for name in ENGINE_FILES if not (folder / name).exists()]:
        raise BuildFailed(f"the source archive of QuickJS-NG has no {', '.join(missing)}: is the pin another version?")


def _weight(folder: Path, weights: Path) -> None:
    """Puts a buffer of so many bytes into each function that `weights` names."""
    for line in weights.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        name, function, size, *checked = line.split()
        file = folder / name
        buffer = f'char stack_weight[{int(size)}]; __asm__ volatile("" : : "r"(stack_weight) : "memory");'
        if checked:
            buffer += " if (js_check_stack_overflow(ctx->rt, 0)) return JS_ThrowStackOverflow(ctx);"
        definition = re.compile(rf"^[a-z_][^\n;]*\b{function}\([^;{{]*?\)\n\{{", re.MULTILINE)
        text, count = definition.subn(rf"\g<0> {buffer}", file.read_text("utf-8"))
        if count != 1:
            raise BuildFailed(f"{name} has {count} definitions of {function}, which {weights.name} gives a weight")
        file.write_text(text, "utf-8")


def _edit(file: Path, names: Path) -> None:
    text = file.read_text("utf-8")
    for pattern, wanted, made in EDITS:
        text, count = re.subn(pattern, made, text)
        if count != wanted:
            raise BuildFailed(
                f"{file.name} has {count} places like {pattern!r}, and not {wanted}: is the pin another version?"
            )
    file.write_text(text.replace("@names@", names.read_text("utf-8"), 1), "utf-8")
