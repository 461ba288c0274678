"""Report of a training: figures (PNG) and one self-contained HTML file."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Any

from stores.errors import StoreError, duration, pluralize
from workflows.report.class_figures import class_figure, importance_figure
from workflows.report.style import save
from workflows.report.training_figures import (
    PART_NAMES,
    PARTS,
    add_unit,
    element_figure,
    history_figure,
    parity_figure,
    significant,
    target_name,
    with_unit,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_STYLE = """
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #202124; background: #fff;
       max-width: 1080px; margin: 2em auto; padding: 0 1.2em; }
h1 { font-size: 1.5em; margin-bottom: 0.1em; } h2 { font-size: 1.15em; margin-top: 2em; }
p.lead { color: #5f6368; margin-top: 0; }
table { border-collapse: collapse; margin: 0.6em 0; }
th, td { padding: 0.25em 0.9em 0.25em 0; text-align: right; border-bottom: 1px solid #e0e2e6; }
th { font-weight: 600; } th:first-child, td:first-child { text-align: left; }
td { font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; display: block; margin: 0.6em 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15em 1.2em; }
dt { color: #5f6368; } dd { margin: 0; }
"""


def write_report(folder: Path, run: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Path:
    """Draw a finished run into its folder, and return the path of the report.

    Writes ``history.png``, of quantities ``parity.png`` and ``elements.png``, of classes
    ``classes-<target>.png``, of compositions ``importance.png``, and ``report.html``, which holds all of
    them.

    Parameters
    ----------
    folder
        Of the run.
    run, rows
        Content of its ``run.json`` and ``predictions.csv``.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    metrics = run["metrics"]
    figures = {"history": history_figure(run["history"][0], run.get("classes", ()))}
    if metrics:
        figures |= {
            "parity": parity_figure(
                rows, metrics, run["label"], "DFT" if _nouns(run) == "slabs" else "label"
            ),
            "elements": element_figure(metrics, _nouns(run)),
        }
    for target, found in run.get("classes", {}).items():
        if (figure := class_figure(rows, target, found["classes"], _nouns(run))) is not None:
            figures[f"classes-{target}"] = figure
    if run.get("importance"):
        figures["importance"] = importance_figure(run["importance"])
    path = folder / "report.html"
    try:
        images = {}
        for name, figure in figures.items():
            save(figure, folder / f"{name}.png")
            images[name] = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
        path.write_text(_page(run, images), encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"{error.filename or folder}: the report cannot be written ({error.strerror or error}); "
            "free space or choose another folder with --output"
        ) from error
    return path


def _page(run: Mapping[str, Any], images: Mapping[str, str]) -> str:
    title = escape(f"mgsurf training: {run['label']}")
    members = len(run["history"])
    epochs = sum(len(history) for history in run["history"])
    facts = {
        "preset": run["settings"]["preset"],
        "split": f"{run['split_name']}, seed {run['settings']['seed']}",
        **({"identical slabs": twins_line(run["twins"])} if run.get("twins") else {}),
        _nouns(run): ", ".join(f"{run['sizes'][part]} {PART_NAMES[part]}" for part in PARTS),
        **({"seen by the pre-trained model": _seen(run)} if "seen_before" in run else {}),
        "members": f"{members}{' (bagged)' if run['settings']['bagging'] else ''}",
        "epochs": f"{epochs} in {duration(run['seconds'])}",
        "total loss": f"{run['total_loss']:.4f} (test, in units of the labels' variance, targets added up)",
        "elements": ", ".join(run["elements"]),
        "data": run["data"],
    }
    sections = [
        f"<h1>{title}</h1>",
        f'<p class="lead">{escape(_summary(run))}</p>',
        *(_of_quantities(run, images) if run["metrics"] else ()),
        *_of_classes(run.get("classes", {}), _nouns(run), images),
        *_of_importance(images),
        "<h2>Course of the training</h2>",
        "<p>Of the first member.</p>" if members > 1 else "",
        _image(images["history"], "Losses, weights of the losses and angle between gradients by epoch"),
        "<h2>Settings</h2>",
        "<dl>" + "".join(f"<dt>{k}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items()) + "</dl>",
    ]
    body = "\n".join(section for section in sections if section)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _of_quantities(run: Mapping[str, Any], images: Mapping[str, str]) -> list[str]:
    return [
        "<h2>Errors</h2>",
        _error_table(run["metrics"], _nouns(run)),
        f"<h2>Predicted against {'computed' if _nouns(run) == 'slabs' else 'labels'}</h2>",
        _image(images["parity"], f"Parity plots of training, validation and test {_nouns(run)}"),
        "<h2>Beyond the mean error (test set)</h2>",
        _detail_table(run["metrics"]),
        "<h2>Error by element (test set)</h2>",
        f"<p>Grey bars rest on fewer than three {_nouns(run)}.</p>",
        _image(images["elements"], "Mean absolute error by element"),
    ]


def _nouns(run: Mapping[str, Any]) -> str:
    return f"{run.get('noun', 'slab')}s"


def _of_importance(images: Mapping[str, str]) -> list[str]:
    if "importance" not in images:
        return []
    return [
        "<h2>Importance of the inputs</h2>",
        "<p>By how much the error of the networks, without the trees beside them, rises on the test set when "
        "one input is shuffled among its compositions: the seven statistics of a property together, the "
        "elements with their fractions, or a numeric column. Inputs that go together share their importance, "
        "so that a short bar does not mean that an input is without influence.</p>",
        _image(images["importance"], "Rise of the error when an input is shuffled"),
    ]


def _of_classes(found: Mapping[str, Any], nouns: str, images: Mapping[str, str]) -> list[str]:
    """Sections of the targets that are classes: a row for each set, and figures of the test set."""
    sections = []
    for target, metrics in found.items():
        names = metrics["classes"]
        head = ["set", nouns, "log loss", "accuracy", "ROC AUC", *(f"F1 {name}" for name in names)]
        rows = [
            [
                words,
                str(metrics[part]["n"]),
                *(
                    "-" if value is None else f"{value:.3f}"
                    for value in (
                        metrics[part].get("log_loss"),
                        metrics[part]["accuracy"],
                        metrics[part].get("roc_auc"),
                        *(metrics[part]["f1"][name] for name in names),
                    )
                ),
            ]
            for part, words in PART_NAMES.items()
        ]
        sections += [f"<h2>Classes of {escape(target_name(target))}</h2>", _table(head, rows)]
        if (data := images.get(f"classes-{target}")) is not None:
            text = f"Confusion matrix and calibration of {target_name(target)} on the test set"
            sections.append(_image(data, text))
    return sections


def _seen(run: Mapping[str, Any]) -> str:
    seen = run["seen_before"]
    if seen is None:
        return "not known"
    return ", ".join(f"{n} of {run['sizes'][part]} {PART_NAMES[part]}" for part, n in seen.items())


def twins_line(twins: Mapping[str, Any]) -> str:
    """Describe the leak of identical slabs that a split file has in two sets, and what was done about it."""
    done = {"drop": "left out", "move": "moved into the later set"}[twins["rule"]]
    groups = twins["groups"]
    return (
        f"The split has {pluralize(len(groups), 'slab')} under several names in different sets: "
        f"{pluralize(twins['leaked_test_slabs'], 'test slab')} had a copy in the training or validation set; "
        f"{pluralize(twins['slabs'], 'duplicate')} {done}."
    )


def _summary(run: Mapping[str, Any]) -> str:
    parts = [
        f"{target_name(target)} {with_unit(m['test']['mae'], target, m.get('unit'))}"
        for target, m in run["metrics"].items()
    ]
    shares = [
        f"{target_name(target)} {100 * m['test']['accuracy']:.1f} %"
        for target, m in run.get("classes", {}).items()
        if m["test"]["accuracy"] is not None
    ]
    sentences = [f"Mean absolute error on the test set: {', '.join(parts)}."] if parts else []
    sentences += [f"Accuracy on the test set: {', '.join(shares)}."] if shares else []
    return " ".join(sentences)


def _error_table(metrics: Mapping[str, Any], nouns: str) -> str:
    rows = []
    for target, m in metrics.items():
        for part in PARTS:
            e = m[part]
            rows.append(
                [
                    f"{add_unit(target_name(target), target, m.get('unit'))}, {PART_NAMES[part]}",
                    str(e["n"]),
                    *("-" if e[name] is None else significant(e[name]) for name in ("mae", "rmse")),
                    "-" if e["r2"] is None else f"{e['r2']:.4f}",
                    "-" if e["mape"] is None else f"{e['mape']:.1f} %",
                ]
            )
    return _table(["", nouns, "MAE", "RMSE", "R²", "MAPE"], rows)


def _detail_table(metrics: Mapping[str, Any]) -> str:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f} %"

    rows = []
    for target, m in metrics.items():
        order = m["facet_order"]
        rows.append(
            [
                target_name(target),
                "-"
                if order["kendall_tau"] is None
                else f"{order['kendall_tau']:.3f} ({pluralize(order['compounds'], 'compound')})",
                with_unit(m["macro_mae"], target, m.get("unit")),
                share(m["coverage_90"]),
                "-" if m["spearman_sigma"] is None else f"{m['spearman_sigma']:.2f}",
            ]
        )
    heads = ["", "order of facets, Kendall's τ", "MAE, mean over systems", "within the 90 % interval",
             "σ with |error|, Spearman's ρ"]  # fmt: skip
    if all(row[1] == "-" for row in rows):  # only slabs have facets
        heads, rows = [heads[0], *heads[2:]], [[row[0], *row[2:]] for row in rows]
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f"<table><tr>{head}</tr>\n{body}</table>"


def _image(data: str, text: str) -> str:
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'
