/**
 * Written to `analysis_version`; changes whenever the same file would get other values. In a file of its own, so that
 * who only asks for it does not load the analysis.
 */
export const analysisVersion = '3.10.0'
