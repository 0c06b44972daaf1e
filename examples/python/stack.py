"""Where the queues and the table are: in a local stack's file, or in the environment."""

import argparse
import json
import os

import boto3


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


def client(stack: dict[str, str], service: str):
    """A connection to a service of AWS."""
    if "endpoint_url" not in stack:
        # Containers are told their region by AWS_REGION, and boto3 looks for AWS_DEFAULT_REGION.
        return boto3.client(service, region_name=os.environ.get("AWS_REGION"))
    # A local stack takes any credentials, but some there have to be.
    return boto3.client(
        service,
        endpoint_url=stack["endpoint_url"],
        region_name=stack["region"],
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
