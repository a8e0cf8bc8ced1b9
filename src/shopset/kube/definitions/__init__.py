"""The CustomResourceDefinitions of the API group, made from its pydantic models."""

from shopset.kube.definitions.resources import custom_resource_definition, definitions
from shopset.kube.definitions.schemas import UnsayableError, structural_schema

__all__ = ["UnsayableError", "custom_resource_definition", "definitions", "structural_schema"]
