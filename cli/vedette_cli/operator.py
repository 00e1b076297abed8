"""`vedette operator`, `webhook` and `uninstall`: the control plane's processes, as the chart starts them."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import click

from vedette_backends.errors import BackendError
from vedette_cli.pods import content, end_when_changed, set_up_pod_logs
from vedette_crds.problems import ProblemsError
from vedette_operator.config import OperatorConfig, load_config

log = logging.getLogger(__name__)

_config = click.option(
    "--config",
    "config",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="VEDETTE_CONFIG",
    help="The release's settings, YAML.",
)
_kubeconfig = click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Of the cluster.  [default: the pod's own account, else $KUBECONFIG]",
)


@click.command()
@_config
@click.option(
    "--backends",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="VEDETTE_BACKENDS",
    help="Folder with the administrator's addresses and credentials of RabbitMQ and Elasticsearch.",
)
@click.option(
    "--scratch",
    default=Path("/scratch"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    envvar="VEDETTE_SCRATCH",
    help="Folder for what may be lost.",
)
@click.option("--status-port", default=9090, show_default=True, envvar="VEDETTE_STATUS_PORT", help="Probes, metrics.")
@_kubeconfig
def operator(config: Path, backends: Path, scratch: Path, status_port: int, kubeconfig: Path | None) -> None:
    """Reconcile the objects of a cluster until SIGTERM."""
    set_up_pod_logs(worker="operator")
    settings = _load(config)
    from vedette_backends.cluster.kubernetes import connect
    from vedette_cli.operator_metrics import exposition
    from vedette_operator.cluster import ClusterOperator
    from vedette_workers.status import StatusServer, Vitals

    before = content(backends)
    vitals = Vitals()
    vitals.expect("lease", "backends")
    try:
        made = ClusterOperator(settings, backends, scratch, vitals, connect(kubeconfig))
    except BackendError as error:
        raise click.ClickException(str(error)) from error
    server = StatusServer(vitals, exposition(made), port=status_port)
    server.start()
    end_when_changed(backends, before)
    made.run()
    server.close()


@click.command()
@click.option(
    "--cert",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    envvar="VEDETTE_CERT",
    help="Folder with tls.crt and tls.key; waits until they are there.",
)
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104 # a pod takes what comes to its own address
@click.option("--port", default=8443, show_default=True, type=click.IntRange(1, 65535), help="To listen on.")
def webhook(cert: Path, host: str, port: int) -> None:
    """Answer the API server's admission reviews until SIGTERM."""
    set_up_pod_logs(worker="webhook")
    from vedette_operator.admission.server import serve

    serve(cert, host, port)


@click.command()
@_config
@_kubeconfig
def uninstall(config: Path, kubeconfig: Path | None) -> None:
    """Let go of everything before a release is uninstalled; the chart runs this by itself."""
    set_up_pod_logs(worker="uninstall")
    settings = _load(config)
    from vedette_backends.cluster.kubernetes import KubernetesResources, connect
    from vedette_operator.uninstall import uninstall as let_go

    try:
        let_go(settings, KubernetesResources(connect(kubeconfig)))
    except BackendError as error:
        raise click.ClickException(str(error)) from error


def _load(config: Path) -> OperatorConfig:
    # Libraries write temporary files for certificates; the root file system cannot be written.
    tempfile.gettempdir()
    try:
        return load_config(config)
    except ProblemsError as error:
        raise click.ClickException("\n".join(map(str, error.problems))) from error
