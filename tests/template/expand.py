"""Prints a template as CloudFormation gets it, after AWS::LanguageExtensions and AWS::Serverless, as JSON.

cfn-lint's code expands the loops, and AWS SAM's own code the rest. (SAM CLI can expand loops too, for
itself; in what it makes of them, an Fn::Sub with references to resources has lost them.) Arguments: the
template's file, and its parameters as a JSON object, pseudo parameters such as AWS::Region among them.
"""

import json
import sys

import cfnlint.decode.cfn_yaml
from cfnlint.template import Template
from cfnlint.template.transforms._language_extensions import language_extension
from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse


class NoManagedPolicies:
    """SAM asks AWS about managed policies that a template calls by their names alone. Ours does not."""

    def load(self):
        return {}


def expand(file, parameters):
    template = cfnlint.decode.cfn_yaml.load(file)
    own = {name: value for name, value in parameters.items() if not name.startswith("AWS::")}
    for name, value in own.items():
        template["Parameters"][name]["Default"] = value
    errors, template = language_extension(Template(file, template, [parameters["AWS::Region"]]))
    if errors:
        sys.exit("\n".join(map(str, errors)))
    # Without cfn-lint's notes of where each value stands.
    template = json.loads(json.dumps(template))
    for name, resource in template["Resources"].items():
        code = resource.get("Properties", {}).get("CodeUri")
        if code is not None:
            # As after `sam package`, and still with the name of its folder.
            folder = code.replace("${Name}", name.removesuffix("Function"))
            resource["Properties"]["CodeUri"] = f"s3://code/{folder}"
    validator = SamTemplateValidator(
        template, NoManagedPolicies(), region=parameters["AWS::Region"], parameter_overrides=parameters
    )
    return yaml_parse(validator.get_translated_template_if_valid())


if __name__ == "__main__":
    print(json.dumps(expand(sys.argv[1], json.loads(sys.argv[2]))))
