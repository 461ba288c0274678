"""Time training and prediction against cgcnn2 (PyPI) and a plain PyTorch-Geometric CGConv network.

All networks have 64 channels, 3 convolutions and 3 hidden layers of 128, get the same 12 neighbours of the
same slabs in the same batches, and one Adam step per batch; each side prepares its batches as its own
training does. The peers' Gaussian expansion (41, 0 to 8 A) has a floor of 1e-9: without it they also multiply
denormal numbers, which is slower still. Each network runs in a process of its own, so that the peak of
resident memory is its own (less what was there before its graphs were made). CPU seconds of one thread are
what to compare on a busy machine.

Bulk crystals (a JSON list of ../shared/data/bulk_properties) are compared in the same way.

    pip install -c constraints.txt cgcnn2==0.6.0 torch-geometric==2.8.1
    python -m benchmarks.training ../shared/data/mg_intermetallic_slabs/slabs.json.gz --slabs 512 --batch 64

With --profile, where our step spends its time. On a GPU (--device cuda) wall seconds count.

A whole training of `best`, with trees, process and report, of the labels of a store; five epochs show what a
hundred take of the main thread, which no second core shortens (in processor seconds):

    OMP_NUM_THREADS=2 python -m benchmarks.training slabs.sqlite --whole 5
"""

from __future__ import annotations

import argparse
import gzip
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from model.graphs.batch import PackedGraphs
from model.graphs.bulk_graph import build_bulk_graph
from model.graphs.element_features import FEATURES
from model.graphs.graph import GraphSettings, build_graph
from model.network.network import SurfaceNetwork
from model.training.checkpoint import predict_packed
from model.training.losses import make_balancer
from model.training.optimisers import make_optimiser
from model.training.presets import PRESETS
from model.training.target_losses import masked_losses

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.graphs.graph import SlabGraph

    Epoch = Callable[[], None]

OURS = ("mtl", "gradnorm", "sem-cgcnn", "mtl unfolded", "best")
PEERS = ("cgcnn2", "pyg")


def structures(path: Path, count: int) -> list[Structure]:
    """Return slabs, or crystals of a list, spread evenly over the file."""
    content = json.loads(gzip.decompress(path.read_bytes()))
    if isinstance(content, list):
        return [
            Structure(r["lattice_mat"], r["elements"], r["coords"])
            for r in (content[i] for i in np.linspace(0, len(content) - 1, count).astype(int))
        ]
    records = content["records"]
    chosen = [records[i] for i in np.linspace(0, len(records) - 1, count).astype(int)]
    return [Structure(Lattice.from_parameters(*r["cell"]), r["species"], r["frac_coords"]) for r in chosen]


def batches(count: int, size: int) -> list[torch.Tensor]:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return list(torch.split(order, size))


def our_epoch(name: str, graphs: list[SlabGraph], size: int, device: str) -> Epoch:
    preset = PRESETS[name.split()[0]]
    torch.manual_seed(0)
    table = torch.from_numpy(FEATURES[preset.features]().table)
    network = SurfaceNetwork(preset.network, table).to(device)
    if device == "cuda":
        network.edge_dtype = torch.bfloat16
    balancer = make_balancer(2, preset.training.balance).to(device)
    optimiser = make_optimiser(network.parameters(), preset.training.optimiser)
    packed = PackedGraphs.of(graphs, device)
    targets = torch.randn(len(graphs), 2, device=device)
    present = torch.ones_like(targets)

    def epoch() -> None:
        network.train()
        for slabs in batches(len(graphs), size):
            slabs = slabs.to(device)
            output = network(packed.select(slabs))
            losses, _ = masked_losses(output, targets[slabs], present[slabs], preset.training)
            optimiser.zero_grad(set_to_none=True)
            balancer.backward(losses, network)
            optimiser.step()

    def predict() -> None:
        predict_packed(network, packed)

    epoch.predict = predict  # type: ignore[attr-defined]  # both share the packed batch
    return epoch


def expansion(graph: SlabGraph) -> torch.Tensor:
    """[E, 41] as CGCNN stores it."""
    centres = torch.arange(41) * 0.2
    return torch.exp((-((torch.from_numpy(graph.distances)[:, None] - centres) ** 2) / 0.04).clamp(min=-20))


def cgcnn2_epoch(graphs: list[SlabGraph], size: int, device: str) -> Epoch:
    from cgcnn2.data import collate_pool
    from cgcnn2.model import CrystalGraphConvNet

    table = torch.from_numpy(FEATURES["cgcnn"]().table)
    items = []
    for graph in graphs:
        n = graph.n_nodes
        atoms = table[torch.from_numpy(graph.numbers.astype(np.int64))]
        index = torch.from_numpy(graph.neighbours.astype(np.int64)).view(n, 12)
        items.append(((atoms, expansion(graph).view(n, 12, 41), index), torch.randn(1), "slab"))
    network = CrystalGraphConvNet(92, 41, 64, 3, 128, 3).to(device)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)

    def epoch() -> None:
        network.train()
        for slabs in batches(len(items), size):
            inputs, target, _ = collate_pool([items[i] for i in slabs])
            inputs = [x.to(device) if torch.is_tensor(x) else [i.to(device) for i in x] for x in inputs]
            output, _ = network(*inputs)
            loss = torch.nn.functional.mse_loss(output, target.to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return epoch


def pyg_epoch(graphs: list[SlabGraph], size: int, device: str) -> Epoch:
    from torch import nn
    from torch_geometric.data import Batch, Data
    from torch_geometric.nn import CGConv, global_mean_pool

    table = torch.from_numpy(FEATURES["cgcnn"]().table)
    items = []
    for graph in graphs:
        centre = np.repeat(np.arange(graph.n_nodes), np.diff(graph.offsets))
        edges = torch.from_numpy(np.stack([graph.neighbours, centre]).astype(np.int64))
        atoms = table[torch.from_numpy(graph.numbers.astype(np.int64))]
        items.append(Data(x=atoms, edge_index=edges, edge_attr=expansion(graph), y=torch.randn(1, 2)))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(92, 64)
            self.convolutions = nn.ModuleList(CGConv(64, dim=41, batch_norm=True) for _ in range(3))
            hidden = [layer for a in (64, 128, 128) for layer in (nn.Linear(a, 128), nn.Softplus())]
            self.top = nn.Sequential(*hidden, nn.Linear(128, 2))

        def forward(self, data: Any) -> torch.Tensor:
            v = self.embed(data.x)
            for convolution in self.convolutions:
                v = nn.functional.softplus(convolution(v, data.edge_index, data.edge_attr))
            return self.top(global_mean_pool(v, data.batch))

    network = Network().to(device)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)

    def epoch() -> None:
        network.train()
        for slabs in batches(len(items), size):
            data = Batch.from_data_list([items[i] for i in slabs]).to(device)
            loss = torch.nn.functional.mse_loss(network(data), data.y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return epoch


def timed(run: Callable[[], None], repeat: int) -> tuple[float, float]:
    """Return the least CPU and the least wall seconds of some runs after one to warm up."""
    run()
    seconds = []
    for _ in range(repeat):
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(s[0] for s in seconds), min(s[1] for s in seconds)


def measure(name: str, arguments: argparse.Namespace) -> None:
    """Child process: measure one network and print JSON."""
    torch.set_num_threads(arguments.threads)
    graphs = pickle.loads(Path(arguments.graphs).read_bytes())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name in OURS:
        epoch = our_epoch(name, graphs, arguments.batch, arguments.device)
    else:
        epoch = {"cgcnn2": cgcnn2_epoch, "pyg": pyg_epoch}[name](graphs, arguments.batch, arguments.device)
    cpu, wall = timed(epoch, arguments.repeat)
    result = {"cpu": cpu, "wall": wall}
    result["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if arguments.device == "cuda":
        result["memory"] = torch.cuda.max_memory_allocated() / 2**20
    if hasattr(epoch, "predict"):
        result["predict"] = timed(epoch.predict, arguments.repeat)[0] / len(graphs)
    if arguments.profile:
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            epoch()
        print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=20), file=sys.stderr)
    print(json.dumps(result))


def whole(store: str, epochs: int) -> None:
    """Train `best` on the labels of a store; print what epochs and all else cost."""
    from model.data.dataset import Dataset
    from model.graphs.cache import GraphCache
    from model.training.runs import RunSettings, run_training

    marks: list[tuple[float, float]] = []

    def mark(*_: Any) -> None:
        marks.append((time.process_time(), time.thread_time()))

    def labels(graph: Any, targets: tuple[str, ...]) -> Dataset:
        return Dataset.from_store(
            f"sqlite:///{Path(store).resolve()}", targets, settings=graph, cache=GraphCache()
        )

    mark()
    with tempfile.TemporaryDirectory() as folder:
        run = run_training(labels, RunSettings("best", epochs=epochs), Path(folder), progress=mark)
    mark()
    steps = np.diff(np.array(marks), axis=0)  # start and first epoch, further epochs, what follows
    usual = PRESETS["best"].training.epochs
    print(f"{run['sizes']['train']} of {sum(run['sizes'].values())} slabs, {torch.get_num_threads()} threads")
    epoch = float(np.median(steps[1:-1, 1]))
    rest = float(steps[:, 1].sum()) - epochs * epoch
    print(
        f"main thread: an epoch {epoch:.2f} s, all else {rest:.1f} s, "
        f"so {usual} epochs {usual * epoch + rest:.0f} s"
    )
    print(f"all threads: {steps[:, 0].sum():.1f} s for these {epochs} epochs and all else")


def child(name: str, graphs: Path, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.training", arguments.data, "--child", name]
    command += ["--graphs", str(graphs)]
    for option in ("batch", "repeat", "threads", "device"):
        command += [f"--{option}", str(getattr(arguments, option))]
    command += ["--profile"] * arguments.profile
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="slabs.json.gz of the Mg set; a store with --whole")
    parser.add_argument("--slabs", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--whole", type=int, metavar="EPOCHS", help="a whole training of best instead")
    parser.add_argument("--profile", action="store_true", help="our network 'sem-cgcnn' only")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--graphs", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure(arguments.child, arguments)
        return
    if arguments.whole is not None:
        if arguments.whole < 2:
            parser.error("--whole takes at least 2 epochs: the first compiles")
        whole(arguments.data, arguments.whole)
        return
    slabs = structures(Path(arguments.data), arguments.slabs)
    bulk = "slabs" not in Path(arguments.data).name
    if bulk:  # the peers take none whose atoms have fewer than 12 neighbours
        slabs = [s for s in slabs if np.all(np.diff(build_bulk_graph(s, GraphSettings()).offsets) == 12)]
        print(f"{len(slabs)} crystals of {np.mean([len(s) for s in slabs]):.1f} atoms")
    peers = [peer for peer in PEERS if find_spec({"pyg": "torch_geometric"}.get(peer, peer))]
    names = ("sem-cgcnn",) if arguments.profile else (*peers, *OURS)
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            settings = PRESETS[name].graph if name in PRESETS else GraphSettings()
            start = time.process_time()
            graphs = [(build_bulk_graph if bulk else build_graph)(slab, settings) for slab in slabs]
            build = (time.process_time() - start) / len(graphs)
            file = Path(folder) / "graphs.pickle"
            file.write_bytes(pickle.dumps(graphs))
            rows[name] = {**child(name, file, arguments), "build": build}
            row = rows[name]
            print(
                f"{name:14} epoch {row['cpu']:7.2f} s CPU {row['wall']:7.2f} s wall {row['memory']:7.0f} MB"
                + (f"   predict {1 / row['predict']:6.0f} slabs/s," if "predict" in row else " " * 27)
                + f" with graphs {1 / (row.get('predict', 0) + build):5.0f} slabs/s",
                flush=True,
            )
    if arguments.profile:
        return
    clock = "wall" if arguments.device == "cuda" else "cpu"
    for peer in peers:
        for name in ("sem-cgcnn", "mtl unfolded"):
            print(
                f"{name} against {peer}: {rows[peer][clock] / rows[name][clock]:.1f} times faster, "
                f"{rows[name]['memory'] / rows[peer]['memory']:.2f} of the memory"
            )
    print(f"gradnorm against mtl: {rows['gradnorm'][clock] / rows['mtl'][clock]:.2f} times the epoch")


if __name__ == "__main__":
    main()
