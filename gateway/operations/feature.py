"""FeatureService."""

from typing import Final

from cbrgateway.v1 import feature_pb2

from gateway.upstream.traits import Traits

LIST_FEATURES: Final = Traits[feature_pb2.ListFeaturesRequest, feature_pb2.ListFeaturesResponse](
    rpc="FeatureService/ListFeatures", harmless=True
)

GET_FEATURE: Final = Traits[feature_pb2.GetFeatureRequest, feature_pb2.GetFeatureResponse](
    rpc="FeatureService/GetFeature", harmless=True
)
