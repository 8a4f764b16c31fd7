from tests.support.api import ApiUnderTest
from tests.support.brands import READER, Tenant
async def test_x(api: ApiUnderTest, brand: Tenant) -> None:
    a = await api.post("/api/v1/subscribe", {"email": READER}, key=brand.key)
    assert (a.status, a.body) == (200, {"ok": True, "subscriber_id": (await brand.row())["id"], "status": "confirmed"})
async def test_y(api: ApiUnderTest, brand: Tenant) -> None:
    pass
