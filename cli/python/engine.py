"""Prints what `sam local` finds of a container engine, as JSON: its version and the address of its bridge, or why there is none.

By the package that `sam local` goes by too: what `docker info` prints may be about another engine.
"""

import ipaddress
import json

import docker


def bridge(client):
    """The address of this machine in the network that containers are in, if there is such a network."""
    for name in ["bridge", "podman"]:
        try:
            network = client.networks.get(name).attrs["IPAM"]["Config"][0]
        except (docker.errors.APIError, LookupError):
            continue
        # Older engines do not say which it is: it is the first, unless one was chosen.
        return network.get("Gateway") or str(next(ipaddress.ip_network(network["Subnet"]).hosts()))


try:
    client = docker.from_env()
    print(json.dumps({"version": client.version()["Version"], "bridge": bridge(client)}))
except docker.errors.DockerException as error:
    print(json.dumps({"missing": str(error)}))
