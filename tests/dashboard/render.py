"""Draws the dashboard as CloudWatch would, with what a local run counted.

    render.py RUN PICTURE

RUN is a JSON file that tests/tests/drills.rs writes: the dashboard's body as the stack has it, the lines in the embedded metric format that the functions wrote, how full
the queues were, the metrics that are made of logs, and what the stack's queues, functions and API are called. PICTURE is a .png or .svg file.

Fails if a widget asks for a metric that nobody counts, or for one of a resource that the stack does not have. On AWS, such a widget is empty, as is one of which nothing
has happened yet: nobody would notice.
"""

import json
import math
import re
import sys

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: E402

# What AWS counts, as far as the dashboard needs it: by namespace, the dimension and the metrics.
OF_AWS = {
    "AWS/SQS": (
        "QueueName",
        {"ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible", "ApproximateAgeOfOldestMessage"},
    ),
    "AWS/Lambda": ("FunctionName", {"Errors", "Throttles", "IteratorAge"}),
    "AWS/ApiGateway": ("ApiId", {"4xx", "5xx"}),
}
# How many points a line has: on AWS, three hours in periods of five minutes are 36.
POINTS = 48
# The size of a cell of the dashboard's grid, in inches.
CELL = (0.74, 0.46)
COLORS = plt.get_cmap("tab20").colors


class Wrong(Exception):
    """A widget that would be empty."""


class Run:
    """What was counted in a local run."""

    def __init__(self, run):
        self.namespace = run["namespace"]
        self.resources = set(run["resources"])
        self.filters = set(run["filters"])
        # Values by metric and dimensions, each a list of (time, value).
        self.values = {}
        for line in run["metrics"]:
            time = line["_aws"]["Timestamp"] / 1000
            for directive in line["_aws"]["CloudWatchMetrics"]:
                for names in directive["Dimensions"] or [[]]:
                    dimensions = frozenset((name, line[name]) for name in names)
                    for metric in directive["Metrics"]:
                        values = self.values.setdefault((metric["Name"], dimensions), [])
                        values.extend((time, value) for value in numbers(line[metric["Name"]]))
        for sample in run["queues"]:
            dimensions = frozenset([("QueueName", sample["queue"])])
            for metric in ("ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"):
                self.values.setdefault((metric, dimensions), []).append((sample["time"], sample[metric]))
        times = [time for values in self.values.values() for time, _ in values]
        self.begin, self.end = min(times), max(times) + 1
        self.period = (self.end - self.begin) / POINTS
        self.names = {(name, frozenset(name for name, _ in dimensions)) for name, dimensions in self.values}
        self.providers = {value for _, dimensions in self.values for name, value in dimensions if name == "provider"}

    def check(self, namespace, name, dimensions):
        """Whether somebody counts this."""
        what = f"{namespace} {name} {dict(dimensions)}"
        if namespace == self.namespace:
            if not dimensions and name in self.filters:
                return
            if (name, frozenset(name for name, _ in dimensions)) not in self.names:
                raise Wrong(f"no function counts {what}")
            if not {value for name, value in dimensions if name == "provider"} <= self.providers:
                raise Wrong(f"there is no such provider: {what}")
            return
        dimension, metrics = OF_AWS.get(namespace, (None, ()))
        if name not in metrics or [name for name, _ in dimensions] != [dimension]:
            raise Wrong(f"AWS counts no {what}")
        if not {value for _, value in dimensions} <= self.resources:
            raise Wrong(f"the stack has none such: {what}")

    def series(self, name, dimensions, stat):
        """The values by period: not a number where there is none."""
        buckets = [[] for _ in range(POINTS)]
        for time, value in self.values.get((name, frozenset(dimensions)), []):
            buckets[min(int((time - self.begin) / self.period), POINTS - 1)].append(value)
        return np.array([statistic(bucket, stat) for bucket in buckets])

    def is_measured(self, namespace, name):
        """Whether a local run can say anything about it."""
        return namespace == self.namespace and name not in self.filters or name.startswith("ApproximateNumber")


def numbers(value):
    """What stands for a metric in a line: a number, a list, or values with how often each was seen."""
    if isinstance(value, dict):
        return [number for number, count in zip(value["Values"], value["Counts"]) for _ in range(int(count))]
    return value if isinstance(value, list) else [value]


def statistic(bucket, stat):
    if not bucket:
        return math.nan
    if stat.startswith("p"):
        return float(np.percentile(bucket, float(stat[1:])))
    return {"Sum": sum, "Maximum": max, "SampleCount": len}[stat](bucket)


def lines_of(widget, run):
    """The lines of a widget: label, colour, values, and whether a local run measures it."""
    properties = widget["properties"]
    metrics, expressions, shown, previous = {}, [], [], []
    for row in properties["metrics"]:
        options = row[-1] if isinstance(row[-1], dict) else {}
        names = [part for part in row if not isinstance(part, dict)]
        if "expression" in options:
            shown.append((options, None))
            expressions.append(options)
            continue
        if names[0] == "...":
            names = previous[: len(previous) - len(names) + 1] + names[1:]
        previous = names
        namespace, name = names[:2]
        dimensions = list(zip(names[2::2], names[3::2]))
        run.check(namespace, name, dimensions)
        values = run.series(name, dimensions, options.get("stat", properties["stat"]))
        measured = run.is_measured(namespace, name)
        metrics[options.get("id", f"_{len(metrics)}")] = (values, measured)
        if options.get("visible", True):
            shown.append((options, (values, measured)))
    lines = []
    for options, values in shown:
        if values is None:
            lines.extend(of_expression(options, metrics, run))
        else:
            lines.append((options.get("label", ""), options.get("color"), *values))
    return lines


def of_expression(options, metrics, run):
    expression = options["expression"]
    search = re.fullmatch(r"SEARCH\('\{([^}]*)\} MetricName=\"(\w+)\"(.*)', '(\w+)', (\d+)\)", expression)
    if search:
        namespace, *names = search[1].split(",")
        if namespace in OF_AWS:
            dimension, metrics = OF_AWS[namespace]
            if names != [dimension] or search[2] not in metrics:
                raise Wrong(f"AWS counts none of {expression}")
            yield search[2], None, np.full(POINTS, math.nan), False
            return
        if namespace != run.namespace or (search[2], frozenset(names)) not in run.names:
            raise Wrong(f"nothing is found by {expression}")
        found = [dimensions for name, dimensions in run.values if name == search[2] and {n for n, _ in dimensions} == set(names)]
        for dimensions in sorted(found, key=sorted):
            label = re.sub(r"\$\{PROP\('Dim\.(\w+)'\)\}", lambda name: dict(dimensions)[name[1]], options["label"])
            yield label, None, run.series(search[2], dimensions, search[4]), True
        return
    words = set(re.findall(r"[a-z_]\w*", expression))
    if words - metrics.keys():
        raise Wrong(f"{expression} is of what is not there: {words - metrics.keys()}")
    functions = {
        "FILL": lambda values, other: np.where(np.isnan(values), other, values),
        "SUM": lambda values: np.nansum(values, axis=0),
    }
    # The dashboard is ours.
    values = eval(expression, {"__builtins__": {}}, functions | {name: values for name, (values, _) in metrics.items()})
    yield options.get("label", ""), options.get("color"), values, all(metrics[word][1] for word in words)


def draw(widget, run, figure, box):
    properties = widget["properties"]
    if widget["type"] == "text":
        axes = blank(figure, box)
        title, _, text = properties["markdown"].partition("\n")
        axes.text(0.01, 0.75, title.lstrip("# "), fontsize=15, weight="bold", va="center")
        axes.text(0.01, 0.28, text.replace("**", ""), fontsize=10.5, va="center")
    elif widget["type"] == "alarm":
        draw_alarms(properties, figure, box)
    elif properties["view"] == "singleValue":
        draw_numbers(widget, run, figure, box)
    else:
        draw_lines(widget, run, figure, box)


def blank(figure, box):
    axes = figure.add_axes(box)
    axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    for spine in axes.spines.values():
        spine.set_color("#cccccc")
    return axes


def draw_alarms(properties, figure, box):
    axes = blank(figure, box)
    axes.set_title(properties["title"] + " (not evaluated in a local run)", fontsize=10, loc="left", weight="bold")
    names = [arn.split(":alarm:")[1].removeprefix("verification-callbacks-") for arn in properties["alarms"]]
    columns = 9
    rows = math.ceil(len(names) / columns)
    for i, name in enumerate(names):
        x, y = (i % columns) / columns + 0.005, 1 - (i // columns + 0.5) / rows
        axes.text(x, y, f" {name} ", fontsize=8.5, va="center", bbox={"facecolor": "#e9f5ea", "edgecolor": "#9cc7a0", "pad": 2})


def draw_numbers(widget, run, figure, box):
    properties = widget["properties"]
    axes = blank(figure, box)
    axes.set_title(properties["title"], fontsize=10, loc="left", weight="bold")
    lines = lines_of(widget, run)
    left, bottom, width, height = box
    columns = min(len(lines), 3)
    rows = math.ceil(len(lines) / columns)
    for i, (label, color, values, _) in enumerate(lines):
        x, y = i % columns / columns, 1 - (i // columns + 1) / rows
        known = values[~np.isnan(values)]
        whole = properties.get("setPeriodToTimeRange")
        number = (known.sum() if whole and properties["stat"] == "Sum" else known[-1]) if len(known) else None
        text = "--" if number is None else f"{number:,.0f}"
        axes.text(x + 0.03, y + 0.68 / rows, text, fontsize=17, va="center")
        axes.text(x + 0.03, y + 0.38 / rows, label, fontsize=9, va="center", color=color or "#333333")
        if properties.get("sparkline"):
            spark = figure.add_axes([left + (x + 0.03) * width, bottom + (y + 0.05 / rows) * height, 0.25 * width, 0.22 * height / rows])
            spark.plot(np.nan_to_num(values), color=color or COLORS[0], linewidth=1)
            spark.axis("off")


def draw_lines(widget, run, figure, box):
    properties = widget["properties"]
    left, bottom, width, height = box
    lines = lines_of(widget, run)
    # As many in a row below as there is room for.
    widest = max((len(line[0]) for line in lines), default=1)
    columns = max(1, min(len(lines), int(width * figure.get_figwidth() * 13 / (widest + 5))))
    below = (0.3 + 0.145 * math.ceil(len(lines) / columns)) / (height * figure.get_figheight())
    axes = figure.add_axes([left + 0.06 * width, bottom + below * height, 0.93 * width, (0.95 - below) * height])
    axes.set_title(properties["title"], fontsize=10, loc="left", weight="bold", x=-0.055)
    x = np.arange(POINTS) * run.period
    handles = []
    stack = np.zeros(POINTS)
    for i, (label, color, values, _) in enumerate(lines):
        color = color or COLORS[i % len(COLORS)]
        if properties.get("stacked"):
            values = np.nan_to_num(values)
            handles.append(axes.fill_between(x, stack, stack + values, step="mid", color=color, alpha=0.8, linewidth=0, label=label))
            stack = stack + values
        else:
            # As CloudWatch, from point to point, whatever is between them.
            there = ~np.isnan(values)
            handles += axes.plot(x[there], values[there], color=color, marker=".", markersize=3, linewidth=1.2, label=label)
    if not any(measured for *_, measured in lines):
        axes.text(0.5, 0.5, "counted by AWS only", transform=axes.transAxes, ha="center", va="center", color="#999999", fontsize=9)
    for annotation in properties.get("annotations", {}).get("horizontal", []):
        axes.axhline(annotation["value"], color=annotation.get("color", "#888888"), linewidth=1, linestyle="--")
        axes.annotate(annotation["label"], (0.995, annotation["value"]), xycoords=("axes fraction", "data"), fontsize=8,
                      ha="right", va="bottom", color=annotation.get("color", "#888888"))
    y = properties.get("yAxis", {}).get("left", {})
    low, high = axes.get_ylim()
    axes.set_ylim(y.get("min", min(0, low)), y.get("max", max(high, 1)))
    if "label" in y:
        axes.text(0.005, 0.98, y["label"], transform=axes.transAxes, fontsize=8, va="top", color="#666666")
    axes.set_xlim(0, run.end - run.begin)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{int(seconds) // 60}:{int(seconds) % 60:02}"))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 6]))
    axes.tick_params(labelsize=7.5)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(left, bottom), ncol=columns, fontsize=7.5, frameon=False,
                  handlelength=1, columnspacing=1, borderpad=0, labelspacing=0.25)


def main(file, picture):
    with open(file, encoding="utf-8") as text:
        data = json.load(text)
    run = Run(data)
    widgets = data["dashboard"]["widgets"]
    rows = max(widget["y"] + widget["height"] for widget in widgets)
    figure = plt.figure(figsize=(24 * CELL[0], rows * CELL[1] + 0.4), dpi=75, facecolor="white")
    wrong = []
    # Figures count from below; and each widget has a margin.
    cell = (1 / 24, 1 / (rows + 0.87))
    for widget in widgets:
        left, width = widget["x"] * cell[0] + 0.006, widget["width"] * cell[0] - 0.012
        top, height = 1 - widget["y"] * cell[1] - 0.011, widget["height"] * cell[1] - 0.016
        if widget["type"] != "text":
            top, height = top - 0.006, height - 0.006
        try:
            draw(widget, run, figure, [left, top - height, width, height])
        except Wrong as error:
            wrong.append(f"{widget['properties'].get('title')}: {error}")
    if wrong:
        sys.exit("\n".join(wrong))
    minutes = (run.end - run.begin) / 60
    figure.text(0.006, 0.004, f"Drawn by tests/dashboard/render.py with what the functions counted in {minutes:.1f} minutes on the local stack, "
                f"in periods of {run.period:.1f} s.", fontsize=8, color="#666666")
    figure.savefig(picture, metadata={"Software": None} if picture.endswith(".png") else {"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
