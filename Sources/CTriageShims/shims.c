#include "CTriageShims.h"
