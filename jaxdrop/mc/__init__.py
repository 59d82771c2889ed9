"""MC dropout: a trained network as a sampler, its uncertainty, and how good that is."""

from jaxdrop.mc._adaptive_calibration import (
    adaptive_calibration_error as adaptive_calibration_error,
)
from jaxdrop.mc._adaptive_calibration import (
    classwise_calibration_error as classwise_calibration_error,
)
from jaxdrop.mc._calibration import Reliability as Reliability
from jaxdrop.mc._calibration import debiased_calibration_error as debiased_calibration_error
from jaxdrop.mc._calibration import expected_calibration_error as expected_calibration_error
from jaxdrop.mc._calibration import reliability as reliability
from jaxdrop.mc._draw_reliability import draw_reliability as draw_reliability
from jaxdrop.mc._ensemble import ensemble as ensemble
from jaxdrop.mc._entropy import expected_entropy as expected_entropy
from jaxdrop.mc._entropy import max_probability as max_probability
from jaxdrop.mc._entropy import mutual_information as mutual_information
from jaxdrop.mc._entropy import predictive_entropy as predictive_entropy
from jaxdrop.mc._entropy import variation_ratio as variation_ratio
from jaxdrop.mc._moments import Moments as Moments
from jaxdrop.mc._moments import mc_moments as mc_moments
from jaxdrop.mc._out_of_distribution import auroc as auroc
from jaxdrop.mc._predict import mc_predict as mc_predict
from jaxdrop.mc._regression import regression_log_likelihood as regression_log_likelihood
from jaxdrop.mc._regression import regression_moments as regression_moments
from jaxdrop.mc._risk_coverage import RiskCoverage as RiskCoverage
from jaxdrop.mc._risk_coverage import aurc as aurc
from jaxdrop.mc._risk_coverage import risk_coverage as risk_coverage
from jaxdrop.mc._sampler import sampler as sampler
from jaxdrop.mc._scores import brier_score as brier_score
from jaxdrop.mc._scores import negative_log_likelihood as negative_log_likelihood
from jaxdrop.mc._temperature import fit_temperature as fit_temperature
