"""What every page owes to everyone: judged by axe-core, and by what it can't judge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT

from tests.console.browser import DARK, LIGHT, NARROW, WIDE, Window

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# A width is judged whole once; in its other mode only the colours differ.
COLOURS = ["color-contrast", "link-in-text-block"]
LOOKS: tuple[tuple[int, str, list[str] | None], ...] = (
    (WIDE, LIGHT, None),
    (WIDE, DARK, COLOURS),
    (NARROW, DARK, None),
    (NARROW, LIGHT, COLOURS),
)
# Nothing moves while it is judged; and of long lists, the first rows stand for the others.
STILL = """
*, *::before, *::after { transition: none !important; animation: none !important; }
tbody tr:nth-child(n + 13), tbody:nth-of-type(n + 13), li:nth-child(n + 25),
.instance-card:nth-child(n + 9)
    { display: none !important; }
"""
AXE = """async ([rules, tags]) => {
    const runOnly = rules ? {type: 'rule', values: rules} : {type: 'tag', values: tags};
    const more = rules ? {} : {'target-size': {enabled: true}};
    const found = await axe.run(document, {runOnly, rules: more, resultTypes: ['violations']});
    return found.violations.flatMap(({id, nodes}) => nodes.map(node => [
        id, node.target.join(' '), node.html,
        [...node.any, ...node.all, ...node.none].map(check => check.message).join('; '),
    ]));
}"""
SHAPE = """() => ({
    main: document.querySelectorAll('main, [role=main]').length,
    headings: [...document.querySelectorAll('h1')].filter(h => h.checkVisibility()).length,
    title: document.title.trim(),
    lang: document.documentElement.lang,
})"""
# What reaches beyond the right edge, when the page can be scrolled sideways.
SIDEWAYS = """() => {
    const limit = document.documentElement.clientWidth;
    if (document.scrollingElement.scrollWidth <= window.innerWidth) return [];
    return [...document.querySelectorAll('body *')]
        .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > limit + 1)
        .slice(0, 5)
        .map(e => `${e.tagName.toLowerCase()}.${e.className} to ${
            Math.round(e.getBoundingClientRect().right)}`);
}"""
# Whatever the keyboard reaches looks another way when it is reached.
FOCUS = """() => {
    const reached = 'a[href], button, input:not([type=hidden]), select, textarea, summary, '
        + '[tabindex]';
    const look = e => {
        const s = getComputedStyle(e), p = getComputedStyle(e.parentElement);
        return [s.outlineStyle === 'none' ? '' : s.outlineStyle + s.outlineWidth + s.outlineColor,
            s.boxShadow, s.borderColor, s.backgroundColor, s.textDecorationLine,
            p.outlineStyle === 'none' ? '' : p.outlineStyle + p.outlineColor,
            p.boxShadow, p.borderColor].join('|');
    };
    document.activeElement.blur();
    return [...document.querySelectorAll(reached)]
        .filter(e => e.tabIndex >= 0 && !e.disabled)
        .filter(e => e.checkVisibility({visibilityProperty: true}))
        .filter(e => {
            const before = look(e);
            e.focus({focusVisible: true, preventScroll: true});
            const after = look(e);
            const had = document.activeElement === e;
            e.blur();
            return had && before === after;
        })
        .map(e => e.outerHTML.slice(0, 200));
}"""


def complaints(window: Window) -> Iterator[str]:
    """Of the page that is open: at both widths and in both modes."""
    window.do(lambda page: page.add_style_tag(content=STILL))
    window.script(AXE_SCRIPT)
    yield from _shape(window)
    for width, mode, rules in LOOKS:
        # What sticks to the screen's edge would else lie over what is judged.
        window.look(width, mode, whole=True)
        how = f"{width}, {mode}"
        for rule, target, html, why in window.script(AXE, [rules, TAGS]):
            yield f"{how}: {rule}: {target}: {why} {html[:160]}"
        yield from (f"{how}: scrolls sideways: {element}" for element in window.script(SIDEWAYS))
    window.look(WIDE, LIGHT)
    window.press("Tab")
    yield from (f"focus can't be seen: {html}" for html in window.script(FOCUS))


def _shape(window: Window) -> Iterator[str]:
    found: dict[str, Any] = window.script(SHAPE)
    if found["main"] != 1:
        yield f"{found['main']} main landmarks"
    if found["headings"] != 1:
        yield f"{found['headings']} headings of the first level"
    if not found["title"] or not found["lang"]:
        yield "no title or no language"
