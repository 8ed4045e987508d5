"""Requirements files that list everything, and what of them a machine needs."""

from __future__ import annotations

import doctest

import pytest

from ml_suite.errors import ConfigError
from ml_suite.software import lock, pip, send, target
from ml_suite.software.lock import parse
from ml_suite.software.target import Target

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"

COMPILED = f"""\
# made by uv pip compile
--extra-index-url https://example.org/whl/rocm
Typing_Extensions==4.12.2 \\
    --hash={B} \\
    --hash={A}
    # via pydantic
six == 1.17.0 ; python_version >= "3.8" --hash={A}   # why
nvidia-cublas[extra]==12.1.3.1 ; platform_machine == 'x86_64' \\
    --hash={A}
"""


def test_the_documentation_is_right() -> None:
    for module in (lock, pip, send, target):
        assert doctest.testmod(module).failed == 0


def test_what_tools_write_is_read() -> None:
    found = parse(COMPILED, "lock.txt")
    assert [pin.line for pin in found.pins] == [
        f"nvidia-cublas==12.1.3.1 --hash={A}",
        f"six==1.17.0 --hash={A}",
        f"typing-extensions==4.12.2 --hash={A} --hash={B}",
    ]
    assert found.options == ("--extra-index-url", "https://example.org/whl/rocm")
    assert found.hashed


def test_comments_and_order_do_not_make_another_environment() -> None:
    one, two = parse("six==1.17.0\nidna==3.10\n", "a"), parse("# x\nidna==3.10\n\nsix==1.17.0 # y\n", "b")
    assert one.canonical == two.canonical
    assert one.canonical != parse("six==1.16.0\nidna==3.10\n", "a").canonical
    hashed = f"six==1.17.0 --hash={A}\nidna==3.10 --hash={A}\n"
    assert one.canonical != parse(hashed, "a").canonical
    # another index may have another build of a version, unless its hash is known
    index = "--index-url https://example.org/rocm\n"
    assert parse(f"{index}six==1.17.0\nidna==3.10\n", "a").canonical != one.canonical
    assert parse(index + hashed, "a").canonical == parse(hashed, "a").canonical


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("six>=1.16\n", "r.txt, line 1: six>=1.16 is not a package with its version"),
        ("\nsix\n", "line 2: six is not a package with its version"),
        ("-e .\n", "-e has no meaning in a list of packages"),
        ("-r other.txt\n", "-r has no meaning"),
        ("a @ https://example.org/a.whl\n", "a is not a package with its version"),
        ("six==1.0\nsix==1.1\n", "line 2: six is listed twice"),
        ("# nothing\n", "lists no package"),
        (f"six==1.0 --hash={A}\nidna==3\n", "some packages have hashes, and idna has not"),
        ("six==1.0 --hash=md5:aa\n", "md5:aa is not a sha256"),
        ("--index-url https://me:hunter2@example.org/simple\nsix==1\n", "holds a user or password"),
        ("-f wheels\nsix==1\n", "wheels is a relative path"),
    ],
)
def test_what_cannot_be_installed_without_internet_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text, "r.txt")
    assert told in str(error.value)
    assert "hunter2" not in str(error.value)


def test_markers_are_those_of_the_host_not_of_this_machine() -> None:
    found = parse(
        "a==1 ; platform_machine == 'aarch64'\nb==1 ; python_version < '3.12'\nc==1 ; sys_platform == 'win32'\n",
        "r.txt",
    )
    assert [pin.name for pin in Target("3.11", "aarch64", (2, 34)).needs(found)] == ["a", "b"]
    assert [pin.name for pin in Target("3.12", "x86_64", (2, 34)).needs(found)] == []
    with pytest.raises(ConfigError, match=r"a: 'nonsense' cannot be read"):
        Target("3.12", "x86_64", (2, 34)).needs(parse("a==1 ; nonsense\n", "r.txt"))


def test_a_host_takes_wheels_for_its_c_library_and_older_ones() -> None:
    from packaging.tags import cpython_tags

    tags = Target("3.11", "x86_64", (2, 28)).platforms
    assert tags[0] == "manylinux_2_28_x86_64"
    assert {"manylinux2014_x86_64", "manylinux1_x86_64", "linux_x86_64"} <= set(tags)
    assert not {"manylinux_2_29_x86_64", "manylinux_2_28_aarch64"} & set(tags)
    assert any(
        str(tag) == "cp311-abi3-manylinux2014_x86_64" for tag in cpython_tags((3, 11), ["cp311"], tags)
    )
