"""Go templates as Docker users write them; expected texts are those of Go 1.24 with Docker's functions."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.cli.template import Template
from rootless.cli.template_functions import TemplateError
from rootless.errors import UsageError

DATA = {
    "Id": "0123456789abcdef",
    "Name": "/web",
    "State": {"Pid": 42, "Running": True, "Error": ""},
    "Args": ["-c", "sleep 1"],
    "Config": {"Labels": {"b": "2", "a": "1"}, "Env": [], "Cmd": None},
    "Mounts": [{"Source": "/a", "RW": True}, {"Source": "/b", "RW": False}],
    "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
    "Label": lambda name: {"a": "1"}.get(name, ""),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{.State.Pid}}", "42"),
        ("{{ .State.Running }}/{{.State.Error}}|", "true/|"),
        ("{{json .State}}", '{"Pid":42,"Running":true,"Error":""}'),
        ("{{.Args}}", "[-c sleep 1]"),
        ("{{.Config.Labels}}", "map[a:1 b:2]"),
        ("{{.Config.Cmd}}", "<no value>"),
        ("{{.Config.Labels.missing}}", "<no value>"),
        ('{{index .Config.Labels "a"}}', "1"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{index .Ports "80/tcp" 0 | json}}', '{"HostIp":"0.0.0.0","HostPort":"8080"}'),
        ('{{join .Args ", "}}', "-c, sleep 1"),
        ("{{range .Mounts}}{{.Source}}{{if .RW}}:rw{{else}}:ro{{end}} {{end}}", "/a:rw /b:ro "),
        ("{{range $i, $m := .Mounts}}{{$i}}={{$m.Source}};{{end}}", "0=/a;1=/b;"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}{{$v}} {{$.Name}}{{end}}", "a1 /webb2 /web"),
        ("{{range .Config.Env}}x{{else}}none{{end}}", "none"),
        ("{{range .Config.Cmd}}x{{else}}nil{{end}}", "nil"),
        ("{{range $p, $c := .Ports}}{{$p}} -> {{(index $c 0).HostPort}}{{end}}", "80/tcp -> 8080"),
        ("{{range .Args}}{{if eq . `-c`}}{{continue}}{{end}}{{.}}{{break}}{{end}}", "sleep 1"),
        ("{{if .State.Error}}bad{{else if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if not .State.Running}}down{{else}}up{{end}}", "up"),
        ("{{with .State}}{{.Pid}}{{end}}{{with .State.Error}}x{{else}}no{{end}}", "42no"),
        ("{{with $x := .Name}}{{$x}}{{end}}", "/web"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1"),
        ("{{len .Args}} {{len .Name}}", "2 4"),
        ('{{printf "%s|%5d|%-5s|%q|%v|%05d|%x|%.2f|%%" "a" 42 "b" "c" true 7 255 1.5}}', None),
        ('{{println "a" 1}}', "a 1\n"),
        ('{{print "a" 1 2 "b"}}', "a1 2b"),
        ('{{"docker" | upper}} {{lower "AbC"}} {{title "hello wOrld"}}', "DOCKER abc Hello WOrld"),
        ('{{split "a:b" ":"}}', "[a b]"),
        ('{{truncate .Id 12}}|{{truncate "ab" 5}}|{{pad "x" 1 2}}|{{pad "" 1 2}}|', "0123456789ab|ab| x  ||"),
        ('{{slice .Id 1 3}} {{slice "abc" 1}}', "12 bc"),
        (
            "{{eq 1 1}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 2}}",
            "true true true true false true",
        ),
        ('{{eq .Name "x" "/web"}}', "true"),
        ("{{and true .Name}} {{or .State.Error .Name}} {{and .State.Error .Nope}}", "/web /web "),
        ("a {{- 1 -}} b", "a1b"),
        ("a {{-1}} b", "a -1 b"),
        ("a{{/* a }} comment */}}b{{- /* c */ -}} c", "abc"),
        ('{{"a\\tb\\u0041\\x42\\"}}"}}', 'a\tbAB"}}'),
        ("{{`raw \\n`}}{{'a'}}", "raw \\n97"),
        ('{{.Label "a"}}{{.Label "zz"}}', "1"),
        ('{{"a" | .Label}}', "1"),
        ('{{"\\101\\U0001F600"}}', "A\U0001f600"),
        ("{{json nil}} {{eq .Config.Cmd nil}} {{ne .Name nil}}", "null true true"),
        ("{{0x10}} {{1_000}} {{1.5}} {{-3}}", "16 1000 1.5 -3"),
        ("{{ if and (eq .State.Pid 42) (gt (len .Args) 1) }}yes{{ end }}", "yes"),
        ("{{json .Config.Labels | printf `%s!`}}", '{"b":"2","a":"1"}!'),
    ],
)
def test_template_renders_as_go_does(text, expected):
    if expected is None:
        expected = 'a|   42|b    |"c"|true|00007|ff|1.50|%'
    assert Template(text).render(DATA) == expected


def test_json_of_everything_is_json():
    data = {key: value for key, value in DATA.items() if not callable(value)}
    assert json.loads(Template("{{json .}}").render(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        "{{",
        "{{.A",
        "}}{{",
        "{{if}}x{{end}}",
        "{{if .A}}",
        "{{end}}",
        "{{else}}",
        "{{range .A}}{{else}}{{else}}{{end}}",
        "{{nope .A}}",
        "{{.A | }}",
        "{{(.A}}",
        "{{.A)}}",
        '{{"\\q"}}',
        '{{"unclosed}}',
        "{{$x.y := 1}}",
        "{{define `x`}}{{end}}",
        "{{template `x`}}",
        "{{/* open }}",
        "{{'ab'}}",
        "{{and}}",
        "{{1__}}",
        "{{%}}",
        "{{" + "(" * 500 + ".A" + ")" * 500 + "}}",
        "{{if .A}}" * 500 + "{{end}}" * 500,
        "{{if .A}}" + "{{else if .A}}" * 500 + "{{end}}",
        "{{" + "9" * 5000 + "}}",
    ],
)
def test_bad_template_is_a_usage_error(text):
    with pytest.raises(UsageError, match="cannot parse the template"):
        Template(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{{.A", "character 1: `{{.A`"),
        ("a {{.B}} {{nope .A}} {{.C}}", "character 10: `{{nope .A}} {{.C}}`"),
        ("{{if .A}}x{{end}}\n{{end}}", "character 19: `{{end}}`"),
        ("é{{.A | }}" + "x" * 100, "character 2: `{{.A | }}" + "x" * 31 + "`"),
    ],
)
def test_error_tells_where_in_the_template_it_is(text, place):
    with pytest.raises(UsageError) as caught:
        Template(text)
    assert caught.value.on == place


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{.Nope}}", "no field .Nope"),
        ("{{.State.pid}}", "no field .pid"),
        ("{{.Name.X}}", "cannot take .X of a string"),
        ("{{.Config.Cmd.X}}", "of nothing"),
        ("{{index .Args 9}}", "index out of range: 9"),
        ("{{.Label}}", "lacks its argument"),
        ("{{.Name 1}}", "cannot give an argument"),
        ("{{upper 1}}", "upper does not fit a number"),
        ("{{upper}}", "upper does not fit no argument"),
        ('{{eq 1 "1"}}', "cannot compare a number with a string"),
        ("{{eq true 1}}", "cannot compare a boolean with a number"),
        ("{{range .Name}}{{end}}", "cannot range over a string"),
        ("{{$nope}}", "undefined variable $nope"),
        ("{{$nope = 1}}", "undefined variable $nope"),
        ("{{break}}", "outside of a range"),
        ('{{pad "x" 99999999999999999999 1}}', "pad does not fit"),
        ("{{slice .Id 5 99}}", "slice does not fit"),
        ("{{join .Name `,`}}", "join does not fit"),
    ],
)
def test_template_that_does_not_fit_is_told_why(text, why):
    with pytest.raises(TemplateError) as caught:
        Template(text).render(DATA)
    assert why in caught.value.message


def test_unknown_field_lists_the_fields():
    with pytest.raises(TemplateError) as caught:
        Template("{{.State.Nope}}").render(DATA)
    assert caught.value.hint == "fields: Pid Running Error"


_WORDS = """
{{ }} {{- -}} .A .B.c $x $ := = | ( ) , if else end range with break continue /* */ " ` ' \\ \\n 1 0x 1. 1e
json index printf len eq and or not true nil . - x %d
"""
_PIECES = st.sampled_from(_WORDS.split())


@given(st.one_of(st.text(), st.lists(_PIECES).map(" ".join), st.lists(_PIECES).map("".join)))
def test_any_text_parses_or_is_a_usage_error(text):
    try:
        template = Template(text)
    except UsageError:
        return
    with suppress(TemplateError):
        template.render({"A": [1, "x", None], "B": {"c": {"d": "e"}}})
