"""`smoke` and `demo`: traces in, and what became of them."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from agentstack import console, project
from agentstack.access import token_of, write_ca
from agentstack.commands.observe import JsonOption
from agentstack.errors import ExitCode
from agentstack.outputs import read_outputs
from components.names import SMOKE_APPLICATION

if TYPE_CHECKING:  # gRPC, the SDK and the price tables are loaded by the commands that need them
    from agentstack.smoke import Passage


def run_smoke(
    stack: project.StackOption = project.DEFAULT_STACK,
    as_json: JsonOption = False,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds until a trace must be stored.")] = 60.0,
) -> None:
    """Send one trace by gRPC and one by HTTP, read both back from Phoenix, and time each hop."""
    from agentstack import smoke
    from agentstack.phoenix_api import PhoenixApi

    outputs = read_outputs(stack)
    ca_file, token = write_ca(outputs), token_of(outputs, SMOKE_APPLICATION)
    endpoints: dict[smoke.Transport, str] = {
        "grpc": outputs.endpoint("otlp_grpc"),
        "http": outputs.endpoint("otlp_http"),
    }
    with PhoenixApi(outputs.endpoint("phoenix"), outputs.phoenix_admin_secret, outputs.ca_certificate) as api:
        # Both at once: most of the time goes into the collector's batch.
        with ThreadPoolExecutor() as pool:
            running = [
                pool.submit(smoke.send, transport, endpoint, token, ca_file, api, timeout)
                for transport, endpoint in endpoints.items()
            ]
        passages = [one.result() for one in running]
    if as_json:
        console.print_json([passage.as_json() for passage in passages])
    else:
        console.out().print(smoke_table(passages))
    failed = [(passage, passage.hops[-1]) for passage in passages if not passage.ok]
    for passage, hop in failed:
        console.err.print(
            f"[red]{passage.transport} ({passage.endpoint}): {smoke.HOPS[hop.name]} failed[/red]", highlight=False
        )
        console.err.print(f"  {hop.error}\n  {hop.hint}", markup=False)
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def smoke_table(passages: list["Passage"]) -> Table:
    """Milliseconds per hop, a row per trace."""
    from agentstack import smoke

    table = Table(title="milliseconds per hop", title_justify="left")
    for heading in ("trace by", *smoke.HOPS.values(), "project", "trace id"):
        table.add_column(heading)
    for passage in passages:
        timed = {hop.name: hop for hop in passage.hops}
        cells = []
        for name in smoke.HOPS:
            hop = timed.get(name)
            cells.append("-" if hop is None else f"{hop.milliseconds:.0f}" if hop.ok else "[red]failed[/red]")
        table.add_row(passage.transport, *cells, passage.project, passage.trace_id)
    return table


def run_demo(
    stack: project.StackOption = project.DEFAULT_STACK,
    traces: Annotated[int, typer.Option("--traces", min=1, max=100_000, help="How many traces.")] = 50,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same traffic.")] = 1,
    rate: Annotated[
        float, typer.Option("--rate", min=0, max=1000, help="Traces per second; 0 for as fast as accepted.")
    ] = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Send realistic LLM traffic whose totals are known: models, projects, errors, tools, tokens, cost."""
    from agentstack import demo, demo_send

    outputs = read_outputs(stack)
    traffic = demo.generate(traces, seed)
    run = secrets.token_hex(4)
    started = time.monotonic()
    with console.err.status("sending") as shown:
        ids = demo_send.send(
            traffic,
            seed=seed,
            run=run,
            endpoint=outputs.endpoint("otlp_http"),
            token=token_of(outputs, SMOKE_APPLICATION),
            ca_file=write_ca(outputs),
            rate=rate,
            progress=lambda done: shown.update(f"sending: {done} of {traces} traces accepted"),
        )
    sums = {
        **demo.totals(traffic),
        "seed": seed,
        "run": run,
        "seconds": round(time.monotonic() - started, 3),
        "trace_ids": ids,
    }
    if as_json:
        console.print_json(sums)
    else:
        console.out().print(demo_table(sums))
        console.err.print(f"See them in Phoenix: {outputs.endpoint('phoenix')} (projects {', '.join(demo.PROJECTS)}).")


def demo_table(sums: dict[str, Any]) -> Table:
    """The totals by model, with a last row for all."""
    from agentstack.demo import TOKEN_TYPES

    table = Table(
        title=f"{sums['traces']} traces, {sums['spans']} spans, {sums['errors']} errors, {sums['cost_usd']} USD",
        title_justify="left",
    )
    for heading in ("model", "requests", *TOKEN_TYPES, "USD"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for model, tokens in sums["tokens_by_model"].items():
        table.add_row(
            model,
            str(sums["requests_by_model"][model]),
            *(str(tokens[kind]) for kind in TOKEN_TYPES),
            sums["cost_usd_by_model"][model],
        )
    table.add_section()
    table.add_row(
        "all",
        str(sum(sums["requests_by_model"].values())),
        *(str(sums["tokens"][kind]) for kind in TOKEN_TYPES),
        sums["cost_usd"],
    )
    return table
