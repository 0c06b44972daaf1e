"""Where the queues and the table are: in a local stack's file, or in the environment."""

import argparse
import json
import os
import sys

try:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError, NoRegionError
except ModuleNotFoundError as missing:
    sys.exit(
        f"{missing.name} is not installed for {sys.executable}. Run `pip install -r examples/python/requirements.txt` "
        "in a virtual environment, and start this program with its Python."
    )

__all__ = ["BotoCoreError", "ClientError", "add_argument", "client", "read", "required"]


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stack",
        metavar="FILE",
        help="a local stack's addresses: target/local/stack.json [default: VERIFICATION_QUEUE_URL, DELIVERY_QUEUE_URL "
        "and EVENTS_TABLE in the environment, and AWS as the environment has it]",
    )


def read(file: str | None) -> dict[str, str]:
    """The addresses, by the names that they have in stack.json. Those that the environment lacks are not there."""
    if file is not None:
        with open(file, encoding="utf-8") as stack:
            return json.load(stack)
    names = ["VERIFICATION_QUEUE_URL", "DELIVERY_QUEUE_URL", "EVENTS_TABLE"]
    return {name.lower(): os.environ[name] for name in names if name in os.environ}


def required(stack: dict[str, str], name: str) -> str:
    """An address that has to be there."""
    if name not in stack:
        sys.exit(f"no {name.upper()}: name a stack.json with --stack, or set {name.upper()} in the environment")
    return stack[name]


def client(stack: dict[str, str], service: str):
    """A connection to a service of AWS."""
    if "endpoint_url" not in stack:
        try:
            # Containers are told their region by AWS_REGION, and boto3 looks for AWS_DEFAULT_REGION.
            return boto3.client(service, region_name=os.environ.get("AWS_REGION"))
        except NoRegionError:
            sys.exit("no AWS region: set AWS_REGION, or AWS_PROFILE to a profile that has one")
    # A local stack takes any credentials, but some there have to be.
    return boto3.client(
        service,
        endpoint_url=stack["endpoint_url"],
        region_name=stack["region"],
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
