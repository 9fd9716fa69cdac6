# requirements:
# python-dateutil==2.9.0.post0
# tabulate==0.9.0
import csv
import io

from dateutil import parser
from tabulate import tabulate


def main(file: str, preview: int = 5):
    """Reads a CSV of orders as people write it: dates in every form, numbers with and without currency.

    Args:
        file: content of the CSV file
        preview: how many rows to show in the log
    """
    orders, unreadable = [], []
    for line, row in enumerate(csv.DictReader(io.StringIO(file)), start=2):
        try:
            orders.append({
                "id": row["order"],
                "date": parser.parse(row["date"], dayfirst="." in row["date"]).date().isoformat(),
                "customer": row["customer"].strip(),
                "country": row["country"].strip().title(),
                "product": row["product"],
                "quantity": int(row["quantity"]),
                "price": float(row["price"].replace("EUR", "").strip()),
            })
        except ValueError as e:
            unreadable.append({"line": line, "why": str(e)})
    print(tabulate(orders[:preview], headers="keys"))
    return {"orders": orders, "unreadable": unreadable}
