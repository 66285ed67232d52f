"""Where an applicant lives, and who it is."""

from feast import Entity, ValueType

zipcode = Entity(name="zipcode", value_type=ValueType.INT64)
dob_ssn = Entity(
    name="dob_ssn",
    value_type=ValueType.STRING,
    description="Date of birth and the last four digits of the social security number",
)
