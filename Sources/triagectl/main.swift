print("triagectl")
