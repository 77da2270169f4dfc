"""Which line of the learner's source a call in the compiled code stands in, without a debugger's tools.

A compiler that writes assembly says with ``.loc`` which line the next instructions belong to. Behind every call a
label is put, and the labels with their lines make a table in the data section, which the emulator looks a return
address up in. The tools that read debug sections (addr2line, atos) differ between systems; this does not.
"""

import re

DECLARATION = (
    'extern "C" const cuda_emulator::Site tf_study_sites[];'
    " static int tf_study_registered = cuda_emulator::register_sites(tf_study_sites);"
)
_FILE = re.compile(r'\s*\.file\s+(\d+)\s+(?:"[^"]*"\s+)?"([^"]*)"')
_LOC = re.compile(r"\s*\.loc\s+(\d+)\s+(\d+)")
_CALL = re.compile(r"\s*(?:callq?|blr?)\s")
_COPY = re.compile(r"^(\s*(?:callq?|bl)\s+_?)(mem(?:cpy|move|set)\b)", re.M)


def hooked(assembly: str) -> str:
    """Return clang's assembly with its copies of whole structs as calls that the emulator hears of.

    Since version 16 clang calls ``__tsan_memcpy``; before, ``memcpy``, which the real sanitizer replaces in the
    process. gcc calls a hook beside ``memcpy`` and needs none of this.
    """
    return _COPY.sub(r"\1__tsan_\2", assembly)


def with_table(assembly: str, source: str) -> str:
    """Return the assembly of a compiler with the table behind it.

    Args:
        assembly: for x86-64 or arm64, as gcc or clang write it for Linux or macOS.
        source: the name of the learner's source in it; a call in a function of a header that was inlined
            belongs to the last line of the source before it.
    """
    mach = bool(re.search(r"^\s*\.section\s+__TEXT", assembly, re.M))
    prefix, symbol = ("L", "_tf_study_sites") if mach else (".L", "tf_study_sites")
    own, line, out, table = set(), 0, [], []
    for text in assembly.splitlines():
        out.append(text)
        if found := _FILE.match(text):
            if found[2].rsplit("/", 1)[-1] == source:
                own.add(found[1])
        elif found := _LOC.match(text):
            if found[1] in own and found[2] != "0":
                line = int(found[2])
        elif ".cfi_startproc" in text:
            line = 0
        elif _CALL.match(text):
            label = f"{prefix}tf_study_{len(table)}"
            out.append(f"{label}:")
            table.append(f"\t.quad {label}, {line}")
    section = "\t.section __DATA,__const" if mach else "\t.data"
    out += [section, "\t.p2align 3", f"\t.globl {symbol}", f"{symbol}:", *table, "\t.quad 0, 0", ""]
    return "\n".join(out)
