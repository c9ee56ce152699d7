"""What the gateway knows of the RPCs of FeatureService that their declarations do not say.

Their answers are objects of any keys: what tells them from other objects is which keys these are.
"""

from typing import Final

from cbrgateway.v1 import feature_pb2

from gateway.upstream.traits import Traits
from gateway.upstream.values import Json, ProtocolError


def _check_features(_request: feature_pb2.ListFeaturesRequest, answer: Json) -> None:
    """Every key of the manual, and of every recording, has a group and a name."""
    if not any("." in key for key in answer):
        raise ProtocolError("has no usable feature")


def _check_feature(request: feature_pb2.GetFeatureRequest, answer: Json) -> None:
    if answer.get(request.feature_key) is None:
        raise ProtocolError("has no usable feature of the request's key")


LIST_FEATURES: Final = Traits[feature_pb2.ListFeaturesRequest, feature_pb2.ListFeaturesResponse](
    rpc="FeatureService/ListFeatures",
    check_answer=_check_features,
)
GET_FEATURE: Final = Traits[feature_pb2.GetFeatureRequest, feature_pb2.GetFeatureResponse](
    rpc="FeatureService/GetFeature",
    check_answer=_check_feature,
)
